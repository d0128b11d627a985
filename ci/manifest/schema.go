package manifest

import (
	_ "embed"
	"slices"
)

//go:embed release-manifest.schema.json
var schema []byte

// Schema returns the JSON Schema (2020-12) of the manifest's version
// [SchemaVersion], for readers in other languages. It refuses what [Parse]
// refuses, as far as a schema can: it doesn't compare one field with another.
func Schema() []byte { return slices.Clone(schema) }
