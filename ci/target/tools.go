package target

import (
	"slices"
)

// Tools link a target, and come from Debian.
type Tools struct {
	// Linker is for Cargo and the others for the cc crate; empty keeps their own
	// choice.
	Linker, CC, CXX, AR string
	// Specs is gcc's file of musl's paths, and MuslCC the name of the C compiler to
	// make from it; Debian has such a compiler only for the native architecture.
	Specs, MuslCC string
	// Packages are Debian's packages of the tools.
	Packages []string
	// PkgConfig makes pkg-config find the target's libraries.
	PkgConfig bool
}

// Tools returns the tools of the target, for a native or a cross build.
func (t Target) Tools(native bool) Tools {
	if t.GNU == "" || native && t.Libc == "gnu" {
		return Tools{} // rustc has a linker for WebAssembly
	}
	need := Tools{Linker: t.GNU + "-gcc", AR: t.GNU + "-ar", Packages: slices.Clone(t.AlwaysPackages)}
	if !native {
		need.Packages = append(need.Packages, t.Packages...)
	}
	if t.Libc == "musl" {
		need.Specs = "/usr/lib/" + t.Musl + "/musl-gcc.specs"
		need.MuslCC = t.Musl + "-gcc"
		need.CC = need.MuslCC
		return need
	}
	need.CC, need.CXX = t.GNU+"-gcc", t.GNU+"-g++"
	need.PkgConfig = t.OS == "linux"
	return need
}

// Variable is an environment variable.
type Variable struct{ Name, Value string }

// Env returns the variables that make Cargo, the cc crate and pkg-config use the
// tools.
func (n Tools) Env(t Target) []Variable {
	var out []Variable
	set := func(name, value string) {
		if value != "" {
			out = append(out, Variable{name, value})
		}
	}
	set("CARGO_TARGET_"+t.EnvKey()+"_LINKER", n.Linker)
	set("CC_"+t.CCKey(), n.CC)
	set("CXX_"+t.CCKey(), n.CXX)
	set("AR_"+t.CCKey(), n.AR)
	if n.PkgConfig {
		set("PKG_CONFIG_ALLOW_CROSS_"+t.CCKey(), "1")
		set("PKG_CONFIG_LIBDIR_"+t.CCKey(), "/usr/lib/"+t.GNU+"/pkgconfig:/usr/share/pkgconfig")
	}
	return out
}
