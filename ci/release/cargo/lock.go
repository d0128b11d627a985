package cargo

import "github.com/BurntSushi/toml"

// Lock is a Cargo.lock.
type Lock struct {
	// byName has the packages by their names.
	byName map[string][]LockedPackage
}

// LockedPackage is an entry of Cargo.lock. One without a Source is a package of
// the project.
type LockedPackage struct{ Name, Version, Source, Checksum string }

// ReadLock reads the text of a Cargo.lock.
func ReadLock(text string) (Lock, error) {
	var file struct {
		Package []LockedPackage
		Root    *LockedPackage // in the first version of the format
	}
	if _, err := toml.Decode(text, &file); err != nil {
		return Lock{}, err
	}
	if file.Root != nil {
		file.Package = append(file.Package, *file.Root)
	}
	l := Lock{map[string][]LockedPackage{}}
	for _, p := range file.Package {
		l.byName[p.Name] = append(l.byName[p.Name], p)
	}
	return l, nil
}

// Has reports whether any version of a package is locked.
func (l Lock) Has(name string) bool { return len(l.byName[name]) > 0 }

// ProjectVersions returns the versions of the project's packages with a name.
func (l Lock) ProjectVersions(name string) []string {
	var versions []string
	for _, p := range l.byName[name] {
		if p.Source == "" {
			versions = append(versions, p.Version)
		}
	}
	return versions
}

// find returns the entry of a package in the output of cargo tree; an empty one if
// there is none.
func (l Lock) find(p treePackage) LockedPackage {
	found := one(l.byName[p.Name], p, func(l LockedPackage) (name, version, source string) { return l.Name, l.Version, l.Source })
	if found == nil {
		return LockedPackage{}
	}
	return *found
}
