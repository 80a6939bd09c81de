"""Runs the models in this process with torch.

Rooms: `source` (name to folder), `tokens` (prompt to ids), `batching` (ids to batches), `scheduler`
(batches to workers), `loading` and `forward` (torch), `engine` (who shares what), `backend` (the
seam). Importing any of them except `tokens`, `device`, `loading` and `forward` loads no library.
"""
