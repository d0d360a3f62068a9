"""The demo, as its visitors meet it: started by its own command line, driven by curl."""
