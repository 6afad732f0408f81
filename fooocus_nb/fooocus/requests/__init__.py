"""The values that a user gives, checked and turned into the values that the server takes."""
