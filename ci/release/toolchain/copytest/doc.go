// Package copytest has the tests of copy.sh, which need no engine.
package copytest
