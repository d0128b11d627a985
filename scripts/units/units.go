// Package units renders quantities for the tables of the benchmarks. It is pure.
package units

import "fmt"

// Bytes renders a number of bytes in B, kB (1,000 bytes) or MB.
func Bytes(n int64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d B", n)
}
