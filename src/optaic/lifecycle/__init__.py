"""The flow of every run, one file a step: apply, submit, claim, complete, publish; beside it cancel, retry, rescue.

No step calls the next. The status columns and the activities carry the flow, so each step can be run, killed and
repeated alone.
"""
