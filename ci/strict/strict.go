// Package strict reads JSON that all readers must understand alike.
//
// It is pure. encoding/json accepts a field twice and in any case, of which the
// last wins, invalid UTF-8, and data after a document; other readers differ. Here
// they are errors.
package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds how deep objects and arrays nest.
const maxDepth = 64

// Object decodes a JSON object. Values are those of encoding/json, with numbers as
// [json.Number]. In objects that are nested less than fold deep, fields that
// differ only in case are the same field.
func Object(data []byte, fold int) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	trimmed := bytes.TrimSpace(data)
	if len(trimmed) == 0 {
		return nil, errors.New("empty")
	}
	if trimmed[0] != '{' {
		return nil, errors.New("not a JSON object")
	}
	r := &reader{json.NewDecoder(bytes.NewReader(data)), fold}
	r.UseNumber()
	value, err := r.value("", 0)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	if _, err := r.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("data after the JSON object")
	}
	return value.(map[string]any), nil
}

type reader struct {
	*json.Decoder
	fold int
}

// value reads the next value, which is at a path.
func (r *reader) value(path string, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("more than %d levels", maxDepth)
	}
	token, err := r.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		return r.object(path, depth)
	case json.Delim('['):
		list := []any{}
		for r.More() {
			v, err := r.value(Element(path, len(list)), depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := r.Token()
		return list, err
	}
	return token, nil
}

// object reads the fields of an object, whose opening brace has been read.
func (r *reader) object(path string, depth int) (map[string]any, error) {
	object, seen := map[string]any{}, map[string]bool{}
	for r.More() {
		token, err := r.Token()
		if err != nil {
			return nil, err
		}
		key := token.(string) // the decoder accepts nothing else
		name := key
		if depth < r.fold {
			name = strings.ToLower(key)
		}
		if seen[name] {
			return nil, fmt.Errorf("field %q appears twice", Field(path, key))
		}
		seen[name] = true
		if object[key], err = r.value(Field(path, key), depth+1); err != nil {
			return nil, err
		}
	}
	_, err := r.Token()
	return object, err
}

// Field returns the path of a field of the object at a path.
func Field(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Element returns the path of an element of the array at a path.
func Element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
