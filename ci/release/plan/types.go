package plan

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"strings"
)

// wrongTypes lists every value of a table whose type is not that of its field.
// Unknown keys are skipped: they are reported on their own.
func wrongTypes(raw json.RawMessage, t reflect.Type, where, key string) []error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) { // it knows several
		if err := json.Unmarshal(raw, reflect.New(t).Interface()); err != nil {
			return []error{fmt.Errorf("%s: key %q: %w", where, key, err)}
		}
		return nil
	}
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return nil // cargo's output is JSON
	}
	have := typeName(value)
	wrong := func() []error {
		name := fmt.Sprintf("key %q", key)
		if key == "" {
			name = "it"
		}
		return []error{fmt.Errorf("%s: %s is %s, but takes %s", where, name, have, kind(t))}
	}
	var errs []error
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		var table map[string]json.RawMessage
		if json.Unmarshal(raw, &table) != nil {
			return wrong()
		}
		fields := map[string]reflect.Type{}
		if t.Kind() == reflect.Struct {
			for _, f := range reflect.VisibleFields(t) {
				if !f.Anonymous {
					name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
					fields[name] = f.Type
				}
			}
		}
		keys := make([]string, 0, len(table))
		for k := range table {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		for _, k := range keys {
			field, known := fields[k]
			if t.Kind() == reflect.Map {
				field, known = t.Elem(), true
			}
			if known {
				errs = append(errs, wrongTypes(table[k], field, where, strings.TrimPrefix(key+"."+k, "."))...)
			}
		}
	case reflect.Slice:
		var elements []json.RawMessage
		if json.Unmarshal(raw, &elements) != nil {
			return wrong()
		}
		for i, e := range elements {
			errs = append(errs, wrongTypes(e, t.Elem(), where, key+"["+strconv.Itoa(i)+"]")...)
		}
	case reflect.Bool:
		if _, ok := value.(bool); !ok {
			return wrong()
		}
	case reflect.String:
		if _, ok := value.(string); !ok {
			return wrong()
		}
	}
	return errs
}

// typeName is what TOML calls the type of a value, with its article.
func typeName(value any) string {
	switch value := value.(type) {
	case string:
		return "a string"
	case bool:
		return fmt.Sprint(value)
	case float64:
		return fmt.Sprintf("the number %v", value)
	case []any:
		return "an array"
	default:
		return "a table"
	}
}
