"""Stages that trials share, each declared where it is built."""
