package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxSize is the size in bytes of the largest document that [Parse] reads. A
// manifest of a hundred archives has some 200 KB.
const MaxSize = 8 << 20

// VersionError says that a document has a major version of the schema which
// this package doesn't know.
type VersionError struct {
	// Got is the document's schema version.
	Got string
	// Known is the version of this package, [SchemaVersion].
	Known string
}

// Error names both versions and what to do.
func (e *VersionError) Error() string {
	known, _, _ := strings.Cut(e.Known, ".")
	return fmt.Sprintf("the manifest has schema version %q, and this version of Gantry reads %s.x (it knows %s): use the version of Gantry that made the release, or a newer one",
		e.Got, known, e.Known)
}

// Parse reads a manifest and checks it: what it returns is valid.
//
// It is strict where readers differ: a field twice, a field in another case,
// null, and anything after the document are errors. A field that it doesn't
// know is an error too, unless the document has a newer minor version. Errors
// name the field; they wrap a [*VersionError] for another major version, and
// are those of [Manifest.Validate] for a document that contradicts itself.
func Parse(data []byte) (*Manifest, error) {
	m, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", FileName, err)
	}
	return m, nil
}

func parse(data []byte) (*Manifest, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%d bytes are more than %d, the size of any manifest", len(data), MaxSize)
	}
	if !utf8.Valid(data) {
		return nil, errors.New("it isn't UTF-8")
	}
	var head struct {
		SchemaVersion *string `json:"schemaVersion"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("%w: is it an error page, or cut off?", err)
	}
	if head.SchemaVersion == nil {
		return nil, errors.New(`no field "schemaVersion": it is no release manifest`)
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

// compareSchema says whether a schema version is a newer one of the known
// major version.
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

// Marshal returns the manifest as it is published: sorted, indented by two
// spaces, ending in a line feed, the same bytes for the same release. It
// refuses a manifest that isn't valid, and changes nothing in m.
func (m *Manifest) Marshal() ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("write %s: %w", FileName, err)
	}
	sorted := *m
	sorted.Assets = slices.Clone(m.Assets)
	slices.SortFunc(sorted.Assets, func(a, b Asset) int { return strings.Compare(a.Name, b.Name) })
	for i := range sorted.Assets {
		a := &sorted.Assets[i]
		a.Binaries = slices.Clone(a.Binaries)
		slices.SortFunc(a.Binaries, func(a, b Binary) int { return strings.Compare(a.Path, b.Path) })
		a.Files = slices.Clone(a.Files)
		slices.SortFunc(a.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(sorted); err != nil {
		return nil, fmt.Errorf("write %s: %w", FileName, err)
	}
	if text.Len() > MaxSize {
		return nil, fmt.Errorf("write %s: %d bytes are more than a reader takes, %d: put fewer files into the archives", FileName, text.Len(), MaxSize)
	}
	return text.Bytes(), nil
}

// checkFields compares the fields of a document with those of Manifest.
// encoding/json takes a field in any case, takes it twice, takes null for any
// type and doesn't miss one.
func checkFields(data []byte, version string, tolerant bool) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	c := fieldChecker{decoder, version, tolerant}
	return c.value(reflect.TypeFor[Manifest](), "", false)
}

type fieldChecker struct {
	*json.Decoder
	// version of the document's schema.
	version string
	// tolerant of fields that it doesn't know.
	tolerant bool
}

// value reads the next value, which must be of the type. An optional string
// must not be empty: to leave it out is the one way to say nothing.
func (c *fieldChecker) value(t reflect.Type, at string, optional bool) error {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	token, err := c.Token()
	if err != nil {
		return err
	}
	what := at
	if what == "" {
		what = "the document"
	}
	switch t.Kind() {
	case reflect.Struct:
		if token != json.Delim('{') {
			return fmt.Errorf("field %q: it must be an object", what)
		}
		return c.object(t, at)
	case reflect.Map:
		if token != json.Delim('{') {
			return fmt.Errorf("field %q: it must be an object", what)
		}
		return c.members(at, func(key string) error { return c.value(t.Elem(), join(at, key), false) })
	case reflect.Slice:
		if token != json.Delim('[') {
			return fmt.Errorf("field %q: it must be an array", what)
		}
		for i := 0; c.More(); i++ {
			if err := c.value(t.Elem(), at+"["+strconv.Itoa(i)+"]", false); err != nil {
				return err
			}
		}
		_, err := c.Token()
		return err
	case reflect.String:
		text, ok := token.(string)
		if !ok {
			return fmt.Errorf("field %q: it must be a string", what)
		}
		if optional && text == "" {
			return fmt.Errorf("field %q: it is empty: leave it out", what)
		}
	case reflect.Bool:
		if _, ok := token.(bool); !ok {
			return fmt.Errorf("field %q: it must be true or false", what)
		}
	case reflect.Int64:
		n, ok := token.(json.Number)
		if _, err := strconv.ParseInt(n.String(), 10, 64); !ok || err != nil {
			return fmt.Errorf("field %q: it must be a whole number", what)
		}
	default:
		panic("manifest: no check of fields of kind " + t.Kind().String())
	}
	return nil
}

// members reads the members of an object whose opening brace has been read.
func (c *fieldChecker) members(at string, value func(key string) error) error {
	seen := map[string]bool{}
	for c.More() {
		token, err := c.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string) // in an object, More is followed by a key
		if seen[key] {
			return fmt.Errorf("field %q: it is there twice", join(at, key))
		}
		seen[key] = true
		if err := value(key); err != nil {
			return err
		}
	}
	_, err := c.Token()
	return err
}

func (c *fieldChecker) object(t reflect.Type, at string) error {
	types := map[string]reflect.Type{}
	required := map[string]bool{}
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		types[name] = t.Field(i).Type
		if options != "omitempty" {
			required[name] = true
		}
	}
	err := c.members(at, func(key string) error {
		if field, known := types[key]; known {
			optional := !required[key]
			delete(required, key)
			return c.value(field, join(at, key), optional)
		}
		for name := range types {
			if strings.EqualFold(name, key) {
				return fmt.Errorf("field %q: write it %q", join(at, key), name)
			}
		}
		if !c.tolerant {
			return fmt.Errorf("field %q: schema version %s has no such field", join(at, key), c.version)
		}
		var skipped json.RawMessage
		return c.Decode(&skipped)
	})
	if err != nil {
		return err
	}
	for i := range t.NumField() { // in the order of the fields: the message is always the same
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if required[name] {
			return fmt.Errorf("field %q: it is missing", join(at, name))
		}
	}
	return nil
}

func join(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}
