package cargo

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// The texts are those of the programs, as they came out of builds or are in
// their sources.
func TestHint(t *testing.T) {
	for text, says := range map[string]string{
		"error: could not find system library 'zlib' required by the 'libz-sys' crate\n\n--- stderr\nPackage zlib was not found in the pkg-config search path.":                     `lacks library "zlib": add its Debian package`,
		"The system library `libssh2` required by crate `libssh2-sys` was not found.":                                                                                               `lacks library "libssh2": add its Debian package`,
		"Package 'zlib', required by 'virtual:world', not found":                                                                                                                    `lacks library "zlib": add its Debian package`,
		"  Could not find directory of OpenSSL installation, and this `-sys` crate cannot":                                                                                          `lacks library "OpenSSL": add its Debian package`,
		"/usr/bin/ld: cannot find -lz: No such file or directory\n/usr/bin/ld: cannot find -lgit2\n/usr/bin/ld: cannot find -lz":                                                    `lacks library "z", "git2": add its Debian package`,
		"rust-lld: error: unable to find library -lz":                                                                                                                               `lacks library "z": add its Debian package`,
		"thread 'main' panicked at cmake-0.1.45/src/lib.rs:\nfailed to execute command: No such file or directory (os error 2)\nis `cmake` not installed?":                          `lacks program "cmake": add its Debian package`,
		"Error: Custom { kind: NotFound, error: \"Could not find `protoc` installation and this build crate cannot proceed without this knowledge.":                                 `lacks program "protoc": add its Debian package`,
		"error: linker `clang` not found\n  |\n  = note: No such file or directory (os error 2)":                                                                                    `lacks program "clang": add its Debian package`,
		"clang: error: invalid linker name in argument '-fuse-ld=mold'":                                                                                                             `lacks program "mold": add its Debian package`,
		"\"-nodefaultlibs\" \"-fuse-ld=lld\"\n  = note: collect2: fatal error: cannot find 'ld'\n          compilation terminated.":                                                 `lacks program "lld": add its Debian package`,
		"  error occurred: Failed to find tool. Is `musl-g++` installed?":                                                                                                           `no C++ compiler for musl: remove the musl targets`,
		"error occurred in cc-rs: failed to find tool \"aarch64-linux-musl-g++\": No such file":                                                                                     `no C++ compiler for musl: remove the musl targets`,
		"error occurred: Failed to find tool. Is `nasm` installed?":                                                                                                                 `lacks program "nasm": add its Debian package`,
		"error: rustc 1.96.0 is not supported by the following packages:\n  app@2.0.0 requires rustc 1.97\n  dep@0.4.1 requires rustc 1.100.2\n  old@0.4.1 requires rustc 1.98\n\n": `needs Rust 1.100.2, and the toolchain has an older one: set channel = "1.100.2" in rust-toolchain.toml, or pass --toolchain`,
		"  --- stderr\n  fatal: not a git repository (or any of the parent directories): .git":                                                                                      `set git-dir = true`,
		"error: cannot update the lock file /gantry/src/Cargo.lock because --locked was passed to prevent this":                                                                     `run cargo check, and commit Cargo.lock`,
		"error: the lock file /gantry/src/Cargo.lock needs to be updated but --locked was passed to prevent this\nIf you":                                                           `run cargo check, and commit Cargo.lock`,
	} {
		assert.Contains(t, Hint(text), says, text)
	}
	for _, text := range []string{"", "error[E0432]: unresolved import `zlib`", "note: the package 'a' was found", "sh: 1: probed: not found"} {
		assert.Empty(t, Hint(text), text)
	}
}

func TestHintsOfLogins(t *testing.T) {
	for stderr, want := range map[string]string{
		"error: no token found for `internal`, please run `cargo login --registry internal`":                                                "a registry wants a token: pass it with with-cargo-token --registry=internal",
		"error: token rejected for `my-crates`, please run `cargo login`":                                                                   "a registry wants a token: pass it with with-cargo-token --registry=my-crates",
		"  unable to update registry `internal`\n\nCaused by:\n  authenticated registries require a credential-provider to be configured\n": "a registry wants a token: pass it with with-cargo-token --registry=internal",
		"fatal: could not read Username for 'https://github.com': terminal prompts disabled":                                                "a git server wants a login: pass it with with-git-auth --address=https://github.com",
		"fatal: could not read Password for 'http://robot@10.0.0.1:81': terminal prompts":                                                   "a git server wants a login: pass it with with-git-auth --address=http://10.0.0.1:81",
		"fatal: Authentication failed for 'https://github.com/owner/name/'":                                                                 "a git server wants a login: pass it with with-git-auth --address=https://github.com",
		"  unable to update https://git.example.com/a/b.git#8d0ebfc3\n\nCaused by:\n  failed to authenticate when downloading repository\n": "a git server wants a login: pass it with with-git-auth --address=https://git.example.com",
		"  unable to update ssh://git@git.example.com/a/b?tag=1#8d0ebfc3\n\nfailed to authenticate when downloading repository: x":          "a git server wants a login: pass it with with-git-auth --address=https://git.example.com",
		"  unable to update https://git.example.com/a/b.git\n\nCaused by: not found":                                                        "",
		"no token found for `a`\nAuthentication failed for 'https://b/c'":                                                                   "a registry wants a token: pass it with with-cargo-token --registry=a\na git server wants a login: pass it with with-git-auth --address=https://b",
	} {
		assert.Equal(t, want, Hint(stderr), stderr)
	}
}
