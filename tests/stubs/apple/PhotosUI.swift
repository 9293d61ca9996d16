// Stub of PhotosUI's view for SwiftUI: see README.md. Type-checked alone, never run.

import Foundation
import SwiftUI

// documentation/photosui/photospickeritem
public struct PhotosPickerItem: Equatable, Hashable, Sendable {
    // documentation/photosui/photospickeritem/loadtransferable(type:)
    public func loadTransferable(type: Data.Type) async throws -> Data? { nil }
}

// documentation/photosui/phpickerfilter
public struct PHPickerFilter: Sendable {
    public static var images: PHPickerFilter { PHPickerFilter() }
}

// documentation/photosui/photospicker/init(_:selection:matching:preferreditemencoding:)
public struct PhotosPicker: View {
    public init<S: StringProtocol>(_ title: S, selection: Binding<PhotosPickerItem?>, matching filter: PHPickerFilter?) {}
    public var body: Never { return fatalError("a stub") }
}
