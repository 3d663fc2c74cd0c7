# Reads a JSON list of YAML documents, and writes what Ruby makes of each and how it spells it itself.
require "json"
require "yaml"

module StompServer
  class StompFrame
    attr_accessor :command, :headers, :body
  end
end

b64 = ->(s) { [s].pack("m0") }
out = JSON.parse($stdin.read).map do |text|
  f = YAML.respond_to?(:unsafe_load) ? YAML.unsafe_load(text) : YAML.load(text)
  { Command: f.command, Headers: f.headers.map { |h| h.map(&b64) }, Body: b64.(f.body), YAML: YAML.dump(f) }
end
puts JSON.generate(out)
