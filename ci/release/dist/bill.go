package dist

import (
	"errors"
	"os"
	"path/filepath"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/release/sbom"
)

// bill writes the bill of materials of an archive.
func bill(dir string, m *manifest.Manifest, licenses map[string]string, t Target, a manifest.Asset) (manifest.Asset, error) {
	build := sbom.Build{TargetDir: t.TargetDir, Inherited: licenses}
	for name, text := range map[string]*[]byte{"messages": &build.Messages, "licenses": &build.Licenses, "Cargo.lock": &build.Lock} {
		var err error
		if *text, err = os.ReadFile(filepath.Join(t.SBOMDir, name)); err != nil {
			return a, err
		}
	}
	crates, err := sbom.Crates(build)
	if err != nil {
		return a, err
	}
	s := sbom.Subject{
		Component: m.Component, Version: m.Version, License: m.License, Description: m.Description, Repository: m.Repository,
		Target: t.Want.Target, Archive: a.Name, ArchiveSHA256: a.SHA256, CommitDate: m.CommitDate,
		Rustc: m.Toolchain.Rustc, Cargo: m.Toolchain.Cargo,
	}
	for _, b := range a.Binaries {
		s.Binaries = append(s.Binaries, [2]string{b.Path, b.SHA256})
	}
	file := filepath.Join(dir, t.SBOM)
	f, err := os.Create(file)
	if err != nil {
		return a, err
	}
	if err := errors.Join(sbom.Write(f, s, crates), f.Close()); err != nil {
		return a, err
	}
	asset, err := Measure(file)
	asset.Kind, asset.Target = manifest.KindSBOM, t.Want.Target
	return asset, err
}
