# Loaded before the packaged Ruby stompserver (ruby -r): its file store syncs the file of each
# message before the receipt goes out, which it does not do by itself.

module SyncPatch
  def _writeframe(dest, frame, msgid)
    super
    File.open("#{@queues[dest][:queue_dir]}/#{msgid}", 'rb', &:fsync)
    true
  end
end

TracePoint.new(:end) do |point|
  if point.self.is_a?(Class) && point.self.name == 'StompServer::FileQueue'
    point.self.prepend(SyncPatch)
    point.disable
  end
end.enable
