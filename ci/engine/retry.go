package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"dagger/gantry/ci/wire"
)

// Retry calls a function again, up to twice, if the engine could not mount its own
// cache. That happens when two sessions load modules at the same moment, and passes.
func Retry(ctx context.Context, call func() error) error {
	var failed error
	_, err := wire.Until(3, func() (bool, error) {
		failed = call()
		return failed == nil || !strings.Contains(failed.Error(), "failed to mount /tmp/buildkit-mount"), nil
	}, func(int) error {
		fmt.Fprintf(os.Stderr, "gantry: the engine could not mount a cache, trying again: %v\n", failed)
		return wire.Sleep(ctx, time.Second)
	})
	return errors.Join(failed, err)
}
