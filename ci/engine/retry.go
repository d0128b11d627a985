package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"dagger/gantry/ci/wire"
)

// Retry calls a function again, up to five times within half a minute, if the engine could
// not mount its own cache. That happens while another session loads a module, and passes
// with that.
func Retry(ctx context.Context, call func() error) error {
	var failed error
	_, err := wire.Until(6, func() (bool, error) {
		failed = call()
		return failed == nil || !strings.Contains(failed.Error(), "failed to mount /tmp/buildkit-mount"), nil
	}, func(n int) error {
		fmt.Fprintf(os.Stderr, "gantry: the engine could not mount a cache, trying again: %v\n", failed)
		return wire.Sleep(ctx, wire.Backoff(n, time.Second, 10*time.Second, rand.Float64()))
	})
	return errors.Join(failed, err)
}
