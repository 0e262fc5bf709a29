"""The report as a page: one HTML file that says what a calibration is worth, tensor by tensor.

material    what is at hand: scales, statistics, measurements, a cache, an engine
facts       what the page says, as plain values
html        the facts as one file: templates, style and script are in `templates/`
"""
