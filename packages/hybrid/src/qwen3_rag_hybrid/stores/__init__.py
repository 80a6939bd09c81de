"""The base class of stores, and the implementations, each in its own folder."""
