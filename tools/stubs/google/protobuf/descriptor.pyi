from typing import Final

class FieldDescriptor:
    TYPE_STRING: Final[int]
    TYPE_MESSAGE: Final[int]
    name: str
    type: int

class FileDescriptor: ...

class Descriptor:
    name: str
    full_name: str
