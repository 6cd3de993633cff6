"""Export: trained weights as plain files."""
