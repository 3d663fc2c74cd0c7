package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"stompserver"
)

// words is for commands that take that many words, of which most -1 has no end.
func words(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		_, names, _ := strings.Cut(cmd.Use, " ")
		form := strings.TrimSpace(cmd.CommandPath() + " " + names)
		switch {
		case len(args) < least:
			missing := strings.TrimRight(strings.Fields(names)[len(args)], ".")
			return usageError("%s is missing. The form is: %s", missing, form)
		case most >= 0 && len(args) > most:
			return usageError("unexpected word %q. The form is: %s", args[most], form)
		}
		return nil
	}
}

// flagProblem tells people what pflag has found wrong with a flag.
func flagProblem(cmd *cobra.Command, err error) error {
	var (
		unknown  *pflag.NotExistError
		noValue  *pflag.ValueRequiredError
		badValue *pflag.InvalidValueError
		noFlag   *pflag.InvalidSyntaxError
	)
	switch {
	case errors.As(err, &unknown):
		if letters := unknown.GetSpecifiedShortnames(); letters != "" {
			return usageError("unknown flag -%s%s", unknown.GetSpecifiedName(), likeFlag(cmd, letters, 2))
		}
		return usageError("unknown flag --%s%s", unknown.GetSpecifiedName(), likeFlag(cmd, unknown.GetSpecifiedName(), 1))
	case errors.As(err, &noValue):
		return usageError("--%s needs a value", noValue.GetFlag().Name)
	case errors.As(err, &badValue):
		return usageError("--%s: %s", badValue.GetFlag().Name, wrongValue(badValue))
	case errors.As(err, &noFlag):
		return usageError("%s is not a flag: see %s -h", noFlag.GetSpecifiedFlag(), cmd.CommandPath())
	}
	return err
}

// likeFlag suggests the flag that was meant, if it is plain which. It does not for a name
// of less than least letters.
func likeFlag(cmd *cobra.Command, given string, least int) string {
	given, _, _ = strings.Cut(given, "=")
	var names, begin []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		names = append(names, f.Name)
		if strings.HasPrefix(f.Name, given) {
			begin = append(begin, f.Name)
		}
	})
	if len(given) < least {
		return ""
	}
	name := stompserver.Nearest(given, names)
	if len(begin) == 1 {
		name = begin[0]
	}
	if name == "" {
		return ""
	}
	return "; did you mean --" + name + "?"
}

// wrongValue says what is wrong with the value of a flag.
func wrongValue(e *pflag.InvalidValueError) string {
	value := e.GetValue()
	_, err := strconv.ParseFloat(value, 64)
	number := err == nil
	switch kind := e.GetFlag().Value.Type(); {
	case errors.Is(e, strconv.ErrRange):
		return value + " is too large"
	case kind == "int" || kind == "int64":
		return fmt.Sprintf("%q is not a whole number", value)
	case kind == "float64":
		return fmt.Sprintf("%q is not a number", value)
	case kind == "bool":
		return fmt.Sprintf("%q is neither true nor false", value)
	case kind == "duration" && number:
		return fmt.Sprintf("%q has no unit: write %ss", value, value)
	case kind == "duration":
		return fmt.Sprintf("%q is not a time: write a number and ms, s, m or h", value)
	}
	return errors.Unwrap(e).Error()
}
