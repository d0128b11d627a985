package units

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 123456: "123.5 kB", 1000000: "1.0 MB", 2097152: "2.1 MB"} {
		assert.Equal(t, want, Bytes(n))
	}
}
