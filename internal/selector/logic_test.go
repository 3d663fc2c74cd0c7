package selector_test

import "testing"

func TestTruthTables(t *testing.T) {
	values := []string{"true", "false", "unknown"}
	operands := map[string]string{"true": "color = 'red'", "false": "color = 'blue'", "unknown": "absent = 'x'"}
	and := map[string]string{
		"true true": "true", "true false": "false", "true unknown": "unknown",
		"false true": "false", "false false": "false", "false unknown": "false",
		"unknown true": "unknown", "unknown false": "false", "unknown unknown": "unknown",
	}
	or := map[string]string{
		"true true": "true", "true false": "true", "true unknown": "true",
		"false true": "true", "false false": "false", "false unknown": "unknown",
		"unknown true": "true", "unknown false": "unknown", "unknown unknown": "unknown",
	}
	not := map[string]string{"true": "false", "false": "true", "unknown": "unknown"}
	for _, a := range values {
		checkTruth(t, message, operands[a], a)
		checkTruth(t, message, "NOT "+operands[a], not[a])
		for _, b := range values {
			checkTruth(t, message, operands[a]+" AND "+operands[b], and[a+" "+b])
			checkTruth(t, message, operands[a]+" OR "+operands[b], or[a+" "+b])
			same := "unknown"
			if a != "unknown" && b != "unknown" {
				same = map[bool]string{true: "true", false: "false"}[a == b]
			}
			checkTruth(t, message, "("+operands[a]+") = ("+operands[b]+")", same)
			checkTruth(t, message, "("+operands[a]+") <> ("+operands[b]+")", not[same])
		}
	}
}
