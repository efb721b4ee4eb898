"""What PCF uses of other packages beyond their documentation; a module a package."""
