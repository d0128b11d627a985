// Package contract has the tests of what the phases promise each other: what the
// plan calls ready packs, and what packs becomes an image. It has no code of its
// own, and its tests are the only ones that import the pure packages of both
// phases.
//
// By default, 500 random projects are tried. For more, and for the same ones
// again by the seed that was printed:
//
//	go test ./ci/contract -run TestReadyMeansReady -v -timeout=1h -rapid.checks=10000
//	go test ./ci/contract -run TestReadyMeansReady -v -rapid.seed=SEED
//
// TestSoak plays random projects, faults and interleavings over both phases:
//
//	scripts/soak --minutes 30
//	scripts/soak --seed SEED
package contract
