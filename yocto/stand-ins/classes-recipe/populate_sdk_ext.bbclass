# No SDK is made.
