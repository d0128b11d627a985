package cargo

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestExecutables(t *testing.T) {
	message := func(id, kind, name, exe string) string {
		out, err := json.Marshal(map[string]any{"reason": "compiler-artifact", "package_id": id, "target": map[string]any{"kind": []string{kind}, "name": name}, "executable": exe})
		require.NoError(t, err)
		return string(out) + "\n"
	}
	bins := []Bin{{Name: "app", Package: "app-cli", ID: "cli-id"}}
	paths, err := Executables(message("other-id", "bin", "app", "/target/wrong/app")+message("cli-id", "test", "app", "/target/app-test")+message("cli-id", "bin", "app", "/target/dist/app"), "", bins)
	require.NoError(t, err)
	assert.Equal(t, []string{"/target/dist/app"}, paths)
	_, err = Executables(message("other-id", "bin", "app", "/target/wrong/app"), "", bins)
	assert.EqualError(t, err, `cargo built no binary "app" of package "app-cli"; it built: "app" of other-id`)
	both := message("cli-id", "bin", "app", TargetDir+"/x86_64-unknown-linux-gnu/dist/app") + message("cli-id", "bin", "app", TargetDir+"/x86_64-unknown-linux-musl/dist/app")
	paths, err = Executables(both, TargetDir+"/x86_64-unknown-linux-gnu", bins)
	require.NoError(t, err)
	assert.Equal(t, []string{TargetDir + "/x86_64-unknown-linux-gnu/dist/app"}, paths)
	_, err = Executables("", "", bins)
	assert.ErrorContains(t, err, "it built: nothing")
	_, err = Executables("warning: something\n", "", bins)
	assert.ErrorContains(t, err, "read cargo's messages")
}
