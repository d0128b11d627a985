package archive

import "dagger/gantry/ci/notation"

// ErrUnsafePath says that a path would escape the directory it is unpacked into,
// or means different things on different systems.
var ErrUnsafePath = notation.ErrUnsafePath

// CleanPath is [notation.CleanPath]: it returns p, a slash-separated path,
// relative and in its shortest form, or an error that wraps [ErrUnsafePath].
func CleanPath(p string) (string, error) { return notation.CleanPath(p) }
