// Package distconsts stands in for Dagger's own package of that path: a nested
// module of its repository that is not published, and that its release build
// takes from the source tree. It holds the places and names that the engine and
// the CLI agree on; scripts/engine/install puts the files there.
package distconsts

// Where an engine is found when none is named.
const (
	EngineContainerName   = "dagger-engine.dev"
	DefaultEngineSockAddr = "unix:///run/dagger/engine.sock"
)

// Programs that the engine runs. DaggerInitPath is mounted into every
// container, also into an empty one: it must be linked statically.
const (
	RuncPath       = "/usr/local/bin/runc"
	DaggerInitPath = "/usr/local/bin/dagger-init"
)

// Directories of the engine.
const (
	EngineDefaultStateDir            = "/var/lib/dagger"
	EngineContainerBuiltinContentDir = "/usr/local/share/dagger/content"
	EngineCustomCACertsDir           = "/usr/local/share/ca-certificates"
)

// The environment variables that name, by digest, the image of each built-in SDK
// among the blobs of EngineContainerBuiltinContentDir.
const (
	GoSDKManifestDigestEnvName         = "DAGGER_GO_SDK_MANIFEST_DIGEST"
	PythonSDKManifestDigestEnvName     = "DAGGER_PYTHON_SDK_MANIFEST_DIGEST"
	TypescriptSDKManifestDigestEnvName = "DAGGER_TYPESCRIPT_SDK_MANIFEST_DIGEST"
)

// OCIVersionAnnotation is where an engine image says its version.
const OCIVersionAnnotation = "org.opencontainers.image.version"

// Images that Dagger names by itself: AlpineImage is the default of a terminal.
const (
	AlpineVersion = "3.22.1"
	AlpineImage   = "alpine:" + AlpineVersion

	BusyboxVersion = "1.37.0"
	BusyboxImage   = "busybox:" + BusyboxVersion

	GolangVersion = "1.25.5"
	GolangImage   = "golang:" + GolangVersion + "-alpine"
)
