package rehearse

import (
	"fmt"

	"dagger/gantry/ci/fakehub"
)

// Faults is how often the fake servers fail.
type Faults string

const (
	// None injects no fault.
	None Faults = "none"
	// Light injects the faults that break most releases: lost answers, half an
	// asset, rate limits, and each seventh request to the registry.
	Light Faults = "light"
	// Heavy adds a fault to every third call to GitHub, and to each fifth request to
	// the registry.
	Heavy Faults = "heavy"
)

func (f Faults) check() error {
	switch f {
	case None, Light, Heavy:
		return nil
	}
	return fmt.Errorf("faults %q are unknown: pass none, light or heavy", f)
}

// ofRegistry returns which requests to the registry fail: each of that many; 0 means
// none. An upload takes three or four requests, so that a divisor or multiple of these
// would fail the same one in each retry.
func (f Faults) ofRegistry() int64 { return map[Faults]int64{Light: 7, Heavy: 5}[f] }

// ofGitHub returns the faults of the fake GitHub.
func (f Faults) ofGitHub() []fakehub.Fault {
	var faults []fakehub.Fault
	if f == None {
		return nil
	}
	faults = append(faults, lightFaults...)
	if f == Heavy {
		for i := range 30 {
			faults = append(faults, fakehub.Fault{Kind: heavyKinds[i%len(heavyKinds)], N: 3 * (i + 1), Match: func(fakehub.Call) bool { return true }})
		}
	}
	return faults
}

// lightFaults break most releases: GitHub did something but its answer is lost, half
// an asset arrived, or a limit was hit.
var lightFaults = []fakehub.Fault{
	{Kind: fakehub.ServerErrorAfter, N: 1, Match: op("create release")},
	{Kind: fakehub.BadGateway, N: 1, Match: op("upload asset")},
	{Kind: fakehub.Reset, N: 2, Match: op("upload asset")},
	{Kind: fakehub.ResetAfter, N: 3, Match: op("upload asset")},
	{Kind: fakehub.Secondary, N: 4, Match: op("upload asset")},
	{Kind: fakehub.BadGatewayAfter, N: 1, Match: op("update release")},
	{Kind: fakehub.Page, N: 1, Match: op("list releases")},
}

var heavyKinds = []fakehub.FaultKind{
	fakehub.ServerError, fakehub.ServerErrorAfter, fakehub.TooMany, fakehub.Reset, fakehub.ResetAfter, fakehub.Secondary,
	fakehub.RequestTimeout, fakehub.Refused, fakehub.RefusedAfter, fakehub.GoAway, fakehub.GoAwayAfter,
}

// op matches calls of an operation of the fake GitHub.
func op(name string) func(fakehub.Call) bool {
	return func(c fakehub.Call) bool { return c.Op == name }
}
