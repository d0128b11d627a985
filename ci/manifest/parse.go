package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"dagger/gantry/ci/strict"
)

// MaxSize bounds a manifest, in bytes. One with a hundred archives has some 200 KB.
const MaxSize = 8 << 20

// VersionError reports a document with an unknown major version of the schema.
type VersionError struct {
	// Got is the document's schema version.
	Got string
	// Known is [SchemaVersion].
	Known string
}

// Error names both versions and the fix.
func (e *VersionError) Error() string {
	known, _, _ := strings.Cut(e.Known, ".")
	return fmt.Sprintf("the manifest has schema version %q, but this version of Gantry reads %s.x (up to %s): use the version of Gantry that made the release, or a newer one",
		e.Got, known, e.Known)
}

// Parse reads and validates a manifest.
//
// It is strict where readers differ: a repeated field, a field in another case, null,
// and data after the document are errors. An unknown field is an error too, unless
// the document has a newer minor version. Errors name the field. They wrap a
// [*VersionError] for another major version, and the errors of [Manifest.Validate].
func Parse(data []byte) (*Manifest, error) {
	m, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", FileName, err)
	}
	return m, nil
}

func parse(data []byte) (*Manifest, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%d bytes, more than the limit of %d", len(data), MaxSize)
	}
	var head struct {
		SchemaVersion *string `json:"schemaVersion"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("%w: it may be an error page, or cut off", err)
	}
	if head.SchemaVersion == nil {
		return nil, errors.New(`no field "schemaVersion": it is not a release manifest`)
	}
	newer, err := compareSchema(*head.SchemaVersion)
	if err != nil {
		return nil, err
	}
	if err := checkFields(data, *head.SchemaVersion, newer); err != nil {
		return nil, err
	}
	m := new(Manifest)
	if err := json.Unmarshal(data, m); err != nil {
		return nil, err
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return m, nil
}

var schemaPattern = regexp.MustCompile(`^(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})$`)

// compareSchema reports whether a schema version is newer than the known one, of the
// same major version.
func compareSchema(version string) (newer bool, err error) {
	got := schemaPattern.FindStringSubmatch(version)
	if got == nil {
		return false, fmt.Errorf("field %q: %q is not MAJOR.MINOR", "schemaVersion", version)
	}
	known := schemaPattern.FindStringSubmatch(SchemaVersion)
	if got[1] != known[1] {
		return false, &VersionError{Got: version, Known: SchemaVersion}
	}
	gotMinor, _ := strconv.Atoi(got[2]) // the pattern allows nothing else
	knownMinor, _ := strconv.Atoi(known[2])
	return gotMinor > knownMinor, nil
}

// Marshal returns the published form of a valid manifest: sorted, indented by two
// spaces and ending in a line feed. It does not change m.
func (m *Manifest) Marshal() ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("write %s: %w", FileName, err)
	}
	sorted := *m
	sorted.Assets = slices.SortedFunc(slices.Values(m.Assets), func(a, b Asset) int { return strings.Compare(a.Name, b.Name) })
	for i := range sorted.Assets {
		a := &sorted.Assets[i]
		a.Binaries = slices.SortedFunc(slices.Values(a.Binaries), func(a, b Binary) int { return strings.Compare(a.Path, b.Path) })
		a.Files = slices.SortedFunc(slices.Values(a.Files), func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(sorted); err != nil {
		return nil, fmt.Errorf("write %s: %w", FileName, err)
	}
	if text.Len() > MaxSize {
		return nil, fmt.Errorf("write %s: %d bytes, more than the limit of %d: put fewer files into the archives", FileName, text.Len(), MaxSize)
	}
	return text.Bytes(), nil
}

// checkFields compares a document with [Manifest]. encoding/json accepts a field in
// any case and null for any type, and misses none.
func checkFields(data []byte, version string, tolerant bool) error {
	document, err := strict.Object(data, 0)
	if err != nil {
		return err
	}
	c := fieldChecker{version, tolerant}
	return c.object(document, reflect.TypeFor[Manifest](), "")
}

type fieldChecker struct {
	// version is that of the document's schema.
	version string
	// tolerant skips unknown fields.
	tolerant bool
}

// value checks that a value has a type. An optional string must not be empty: to
// omit it is the one way to say nothing.
func (c *fieldChecker) value(v any, t reflect.Type, path string, optional bool) error {
	must := func(be string) error { return fmt.Errorf("field %q: it must be %s", path, be) }
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		object, ok := v.(map[string]any)
		if !ok {
			return must("an object")
		}
		if t.Kind() == reflect.Struct {
			return c.object(object, t, path)
		}
		for _, key := range slices.Sorted(maps.Keys(object)) {
			if err := c.value(object[key], t.Elem(), strict.Field(path, key), false); err != nil {
				return err
			}
		}
	case reflect.Slice:
		list, ok := v.([]any)
		if !ok {
			return must("an array")
		}
		for i, element := range list {
			if err := c.value(element, t.Elem(), strict.Element(path, i), false); err != nil {
				return err
			}
		}
	case reflect.String:
		text, ok := v.(string)
		if !ok {
			return must("a string")
		}
		if optional && text == "" {
			return fmt.Errorf("field %q: it is empty: omit it", path)
		}
	case reflect.Bool:
		if _, ok := v.(bool); !ok {
			return must("true or false")
		}
	case reflect.Int64:
		n, ok := v.(json.Number)
		if _, err := strconv.ParseInt(n.String(), 10, 64); !ok || err != nil {
			return must("a whole number")
		}
	default:
		panic("manifest: no check of fields of kind " + t.Kind().String())
	}
	return nil
}

func (c *fieldChecker) object(object map[string]any, t reflect.Type, path string) error {
	unknown := maps.Clone(object)
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		value, found := object[name]
		delete(unknown, name)
		for key := range unknown {
			if strings.EqualFold(name, key) {
				return fmt.Errorf("field %q: write it %q", strict.Field(path, key), name)
			}
		}
		optional := options == "omitempty"
		if !found && !optional {
			return fmt.Errorf("field %q: it is missing", strict.Field(path, name))
		}
		if !found {
			continue
		}
		if err := c.value(value, t.Field(i).Type, strict.Field(path, name), optional); err != nil {
			return err
		}
	}
	if len(unknown) == 0 || c.tolerant {
		return nil
	}
	return fmt.Errorf("field %q: schema version %s has no such field", strict.Field(path, slices.Min(slices.Collect(maps.Keys(unknown)))), c.version)
}
