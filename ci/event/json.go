package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep objects and lists may lie in each other: GitHub's
// events have fewer than ten levels.
const maxDepth = 64

// checkJSON makes sure that data is one JSON object that every reader reads
// alike: encoding/json takes a field twice and in any case, and the last wins.
func checkJSON(data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("it isn't UTF-8")
	}
	if trimmed := bytes.TrimSpace(data); len(trimmed) == 0 {
		return errors.New("it is empty")
	} else if trimmed[0] != '{' {
		return errors.New("it isn't a JSON object: pass the file that $GITHUB_EVENT_PATH names")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := checkValue(decoder, 0); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("there is more after the object")
	}
	return nil
}

func checkValue(decoder *json.Decoder, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("it has more than %d levels", maxDepth)
	}
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for decoder.More() {
		if delim == '{' {
			key, err := decoder.Token()
			if err != nil {
				return err
			}
			name := key.(string) // the decoder takes nothing else
			// The case matters only at levels that are read, where GitHub has
			// no two fields that differ by it.
			if depth < 2 {
				name = strings.ToLower(name)
			}
			if seen[name] {
				return fmt.Errorf("field %q is there twice", key)
			}
			seen[name] = true
		}
		if err := checkValue(decoder, depth+1); err != nil {
			return err
		}
	}
	_, err = decoder.Token()
	return err
}
