"""The pictures of the documentation: terminals in which the commands ran."""
