package strict

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestObject(t *testing.T) {
	o, err := Object([]byte(` {"a": [1, "x", true, null, {"B": 1e999}], "c": {}} `), 1)
	require.NoError(t, err)
	assert.Equal(t, map[string]any{
		"a": []any{json.Number("1"), "x", true, nil, map[string]any{"B": json.Number("1e999")}}, "c": map[string]any{},
	}, o)
	o, err = Object([]byte(`{"x": {"y": 1, "Y": 2}}`), 1)
	require.NoError(t, err, "nested deeper than fields are folded")
	assert.Len(t, o["x"], 2)
	nested := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + "}" }
	_, err = Object([]byte(nested(maxDepth)), 0)
	require.NoError(t, err)
	for data, says := range map[string]string{
		"": "empty", " \n": "empty", "[]": "not a JSON object", "null": "not a JSON object", "<html>": "not a JSON object",
		"{\"a\":\"\xff\"}": "not UTF-8", "{} {}": "data after the JSON object", "{}x": "data after the JSON object",
		"{": "unexpected EOF", `{"a":[`: "unexpected EOF", `{"a":`: "unexpected EOF", `{"a"`: "unexpected EOF", `{"a":[1`: "unexpected EOF",
		"{1:2}": "invalid character '1'", `{"a":x}`: "invalid character 'x'", `{"a":[1}`: "invalid character '}'",
		`{"a":1,"a":2}`: `field "a" appears twice`, `{"a":1,"A":2}`: `field "A" appears twice`,
		`{"a":[{},{"b":{"c":1,"c":1}}]}`: `field "a[1].b.c" appears twice`,
		nested(maxDepth + 1):             "more than 64 levels",
	} {
		o, err := Object([]byte(data), 1)
		require.ErrorContains(t, err, says, data)
		assert.Nil(t, o)
	}
}
