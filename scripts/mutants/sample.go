package main

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"
)

// Order puts the mutants of a package into a random order whose every beginning
// is a fair sample: from each function as many as its share of the package's
// mutants. A larger sample with the same seed contains the smaller one.
func Order(all []*Mutant, seed uint64) []*Mutant {
	functions := map[string][]*Mutant{}
	for _, m := range all {
		name := m.File + " " + m.Function
		functions[name] = append(functions[name], m)
	}
	position := map[*Mutant]float64{}
	for name, list := range functions {
		h := fnv.New64a()
		h.Write([]byte(name))
		r := rand.New(rand.NewPCG(seed, h.Sum64()))
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		// The functions' first ones must not all come first.
		offset := r.Float64()
		for i, m := range list {
			position[m] = (float64(i) + offset) / float64(len(list))
		}
	}
	ordered := slices.Clone(all)
	slices.SortStableFunc(ordered, func(a, b *Mutant) int {
		switch {
		case position[a] < position[b]:
			return -1
		case position[a] > position[b]:
			return 1
		}
		return 0
	})
	return ordered
}

// Shares splits a sample over packages by the number of their mutants. A package
// gets at least `least`, or all that it has.
func Shares(sizes map[string]int, sample, least int) map[string]int {
	total := 0
	for _, n := range sizes {
		total += n
	}
	shares := map[string]int{}
	for pkg, n := range sizes {
		shares[pkg] = min(n, max(least, (sample*n+total-1)/max(total, 1)))
	}
	return shares
}
