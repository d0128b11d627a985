// Package docs has the tests of the documentation: README.md, SECURITY.md and docs/. It
// has no code.
//
// Every code block is executed or checked, every link leads somewhere, every quoted
// message is in the code, and what is generated is up to date. After a change of the
// configuration, write its page anew:
//
//	go test ./ci/docs -update
package docs
