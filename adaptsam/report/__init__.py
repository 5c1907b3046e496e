"""Reports for people: HTML pages with slices, contours, figures and charts."""
