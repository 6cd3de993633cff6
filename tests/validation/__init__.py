"""Statistical studies that take too long for every change: ``make validate`` runs them before a release."""
