package engine

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"dagger/gantry/ci/wire"
)

// Retry calls a function again, up to twice, if the engine could not mount its own
// cache. That happens when two sessions load modules at the same moment, and passes.
func Retry(ctx context.Context, call func() error) error {
	err := call()
	for range 2 {
		if err == nil || !strings.Contains(err.Error(), "failed to mount /tmp/buildkit-mount") {
			break
		}
		fmt.Fprintf(os.Stderr, "gantry: the engine could not mount a cache, trying again: %v\n", err)
		if err := wire.Sleep(ctx, time.Second); err != nil {
			return err
		}
		err = call()
	}
	return err
}
