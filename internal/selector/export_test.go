package selector

import (
	"maps"
	"slices"
)

// Names are the names of JMS and Artemis.
func Names() []string { return slices.Sorted(maps.Keys(jms)) }
