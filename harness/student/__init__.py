"""A distilled student as a thing of its own: its file, and what answers from it. Needs no PyTorch."""

from harness.student.student import Answer, Student

__all__ = ["Answer", "Student"]
