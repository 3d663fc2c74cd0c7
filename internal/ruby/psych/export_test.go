package psych

// Quick and General are the two ways of Parse.
var (
	Quick   = quick
	General = parse
)
