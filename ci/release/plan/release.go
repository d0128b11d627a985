package plan

import (
	"fmt"
	"strings"
)

// Triples returns the target triples of the plan.
func (p *Plan) Triples() []string {
	var triples []string
	for _, t := range p.Targets {
		triples = append(triples, t.Target)
	}
	return triples
}

// MovedTags returns the tags that the container image gets.
func (p *Plan) MovedTags() []string {
	var tags []string
	for _, t := range p.ImageTags {
		if t.Exact || t.Move {
			tags = append(tags, t.Tag)
		}
	}
	return tags
}

// Messages returns the messages of the problems of a severity.
func (p *Plan) Messages(severity string) []string {
	var messages []string
	for _, problem := range p.Problems {
		if problem.Severity == severity {
			messages = append(messages, problem.Message)
		}
	}
	return messages
}

// Err returns the errors among the problems as one; nil if there are none.
func (p *Plan) Err() error { return Refusal(p.Tag, p.Messages(SeverityError)) }

// Refusal returns the error of a tag that can't be released for some reasons; nil if
// there are none.
func Refusal(tag string, reasons []string) error {
	switch len(reasons) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("cannot release %q: %s", tag, reasons[0])
	default:
		return fmt.Errorf("cannot release %q, for %d reasons:\n- %s", tag, len(reasons), strings.Join(reasons, "\n- "))
	}
}
