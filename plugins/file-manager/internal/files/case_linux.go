package files

// usuallyCaseSensitive is what file systems of the system usually are.
const usuallyCaseSensitive = true
