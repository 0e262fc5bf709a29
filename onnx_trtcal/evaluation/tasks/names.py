"""The names of tasks and of detection heads, and the default thresholds, as options take them."""

from __future__ import annotations

__all__ = ["HEADS", "IOU", "NMS_IOU", "SCORE_THRESHOLD", "TASKS"]

TASKS = ("classify", "detect", "segment", "none")

SCORE_THRESHOLD = 0.25
IOU = 0.5
NMS_IOU = 0.45

HEADS = {
    "yolov5": "rows of cx, cy, w, h, objectness, classes; boxes decoded (YOLOv5, YOLOv7, YOLOX with decoding)",
    "yolov5-raw": "the same rows, boxes relative to grid cells and YOLOv5's own anchors, behind a sigmoid or before it",
    "yolox": "the same rows, boxes relative to grid cells of strides such as 8, 16, 32 (YOLOX without decoding)",
    "yolov8": "rows of cx, cy, w, h, classes; boxes decoded (YOLOv8 and later)",
    "ssd": "boxes and class scores, of which the first is the background",
    "ssd-no-background": "boxes and class scores, none of them the background",
    "detr": "boxes and class scores, of which the last is the background",
    "scrfd": "per stride scores and distances to the sides of a box",
    "yunet": "per stride class scores, objectness, and boxes relative to grid cells",
    "nms": "final detections: rows of 6 or 7 values, or boxes, scores and classes",
}
"""Name -> what outputs of this head hold."""
