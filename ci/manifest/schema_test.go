package manifest

import _ "embed"

//go:embed release-manifest.schema.json
var schema []byte
