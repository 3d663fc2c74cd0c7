# The option parser of the Ruby stompserver 0.9.9, for comparison. Reads a JSON array of
# arguments a line and prints what it makes of them: {"error": ...}, or the options and,
# under "words", what is no option.
require 'optparse'
require 'json'

def parse(argv)
  d = {}
  c = OptionParser.new
  c.on("-C", "--config=CONFIGFILE", String) {|x| d[:config] = x}
  c.on("-p", "--port=PORT", Integer) {|x| d[:port] = x.to_s}
  c.on("-b", "--host=ADDR", String) {|x| d[:host] = x}
  c.on("-q", "--queuetype=QUEUETYPE", String) {|x| d[:queuetype] = x}
  c.on("-w", "--working_dir=DIR", String) {|x| d[:"working-dir"] = x}
  c.on("-s", "--storage=DIR", String) {|x| d[:storage] = x}
  c.on("-d", "--debug", String) { d[:debug] = "true"}
  c.on("-a", "--auth", String) { d[:auth] = "true"}
  c.on("-c", "--checkpoint=SECONDS", Integer) {|x| d[:checkpoint] = x.to_s}
  c.on("-h", "--help") { d[:help] = "true"; throw :help}
  catch(:help) do
    words = c.parse(argv)
    d[:words] = words.join("\n") unless words.empty?
  end
  d
rescue OptionParser::ParseError => e
  {error: e.message}
end

STDOUT.sync = true
STDIN.each_line {|l| puts JSON.generate(parse(JSON.parse(l)))}
