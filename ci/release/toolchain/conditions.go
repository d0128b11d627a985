package toolchain

import (
	"context"
	"strings"

	"dagger/gantry/ci/release/cargo"
	"dagger/gantry/ci/release/plan"
	"dagger/gantry/internal/dagger"
)

// Conditions of a build whose result is compared with that of another. conditions.sh
// makes them.
type Conditions string

const (
	// Usual conditions are those of a release.
	Usual Conditions = "usual"
	// Other conditions differ in everything that the result must not depend on.
	Other Conditions = "other"
)

// Files in the output of a build with conditions; conditions.sh explains them.
const (
	ConditionsFile = "conditions"
	ScriptsDir     = "scripts"
	ScriptSums     = "scripts.sums"
)

// Places under other conditions. They are as long as the usual ones, so that a program
// which contains one differs in little else. The source is deeper.
const (
	otherSrc       = "/gantry/2/s"
	otherTarget    = "/gantry/2/targ"
	otherCargoHome = "/opt/2/cargohome"
)

// TargetDir returns Cargo's target directory.
func (c Conditions) TargetDir() string {
	if c == Other {
		return otherTarget
	}
	return cargo.TargetDir
}

// messages returns those of Cargo with the usual identifiers of packages, which have the
// place of the source.
func (c Conditions) messages(of string) string {
	if c == Other {
		return strings.ReplaceAll(of, "file://"+otherSrc, "file://"+SrcDir)
	}
	return of
}

// env returns the variables that conditions.sh needs.
func (c Conditions) env(ctx context.Context, ctr *dagger.Container, group []plan.Build) ([]string, error) {
	if c == "" {
		return nil, nil
	}
	env := []string{"GANTRY_CONDITIONS=" + string(c), "GANTRY_TARGETS=" + strings.Join(triples(group), " ")}
	if c == Usual {
		return env, nil
	}
	home, err := cargoHome(ctx, ctr)
	return append(env, "GANTRY_SRC="+otherSrc, "CARGO_HOME="+otherCargoHome, "GANTRY_CARGO_HOME="+home), err
}
