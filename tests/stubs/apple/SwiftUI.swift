// Stub of SwiftUI and of what it exports of Combine: see README.md. Type-checked alone, never run.

@_exported import CoreGraphics

// documentation/combine/observableobject
public protocol ObservableObject: AnyObject {}

// documentation/combine/published
@propertyWrapper
public struct Published<Value> {
    public var wrappedValue: Value
    public init(wrappedValue: Value) { self.wrappedValue = wrappedValue }
}

// documentation/swiftui/binding
@propertyWrapper
public struct Binding<Value> {
    public var wrappedValue: Value
    public init(wrappedValue: Value) { self.wrappedValue = wrappedValue }
}

// documentation/swiftui/state
@propertyWrapper
public struct State<Value> {
    public var wrappedValue: Value {
        get { fatalError("a stub") }
        nonmutating set {}
    }
    public var projectedValue: Binding<Value> { fatalError("a stub") }
    public init(wrappedValue: Value) {}
}

extension State where Value: ExpressibleByNilLiteral {
    public init() {}
}

// documentation/swiftui/stateobject
@propertyWrapper
@MainActor @preconcurrency
public struct StateObject<ObjectType: ObservableObject> {
    public var wrappedValue: ObjectType { fatalError("a stub") }
    public nonisolated init(wrappedValue thunk: @autoclosure @escaping () -> ObjectType) {}
}

// documentation/swiftui/view
@MainActor @preconcurrency
public protocol View {
    associatedtype Body: View
    @ViewBuilder var body: Self.Body { get }
}

extension Never: View {
    public var body: Never { return fatalError("a stub") }
}

// documentation/swiftui/viewbuilder
@resultBuilder
public struct ViewBuilder {
    public static func buildBlock<each Content: View>(_ content: repeat each Content) -> StubView { StubView() }
    public static func buildIf(_ content: StubView?) -> StubView { StubView() }
}

/// What every modifier and container of the stub is.
public struct StubView: View {
    public nonisolated init() {}
    public var body: Never { return fatalError("a stub") }
}

extension View {
    // documentation/swiftui/view/padding(_:)
    public func padding() -> StubView { StubView() }
    // documentation/swiftui/view/aspectratio(_:contentmode:)
    public func aspectRatio(_ ratio: CGFloat?, contentMode: ContentMode) -> StubView { StubView() }
    // documentation/swiftui/view/gesture(_:including:)
    public func gesture(_ gesture: some Gesture) -> StubView { StubView() }
    // documentation/swiftui/view/onchange(of:initial:_:)-4psgg (iOS 17)
    public func onChange<V: Equatable>(
        of value: V, initial: Bool = false, _ action: @escaping @MainActor (V, V) -> Void
    ) -> StubView { StubView() }
}

// documentation/swiftui/contentmode
public enum ContentMode { case fit, fill }

// documentation/swiftui/text
public struct Text: View {
    public nonisolated init<S: StringProtocol>(_ content: S) {}
    public var body: Never { return fatalError("a stub") }
}

// documentation/swiftui/image
public struct Image: View {
    // documentation/swiftui/image/init(decorative:scale:orientation:)
    public nonisolated init(decorative cgImage: CGImage, scale: CGFloat) {}
    // documentation/swiftui/image/resizable(capinsets:resizingmode:)
    public func resizable() -> Image { self }
    public var body: Never { return fatalError("a stub") }
}

// documentation/swiftui/button
public struct Button: View {
    public nonisolated init(_ title: String, action: @escaping @MainActor () -> Void) {}
    public var body: Never { return fatalError("a stub") }
}

// documentation/swiftui/vstack
public struct VStack: View {
    public init<Content: View>(spacing: CGFloat? = nil, @ViewBuilder content: () -> Content) {}
    public var body: Never { return fatalError("a stub") }
}

// documentation/swiftui/geometryreader
public struct GeometryReader: View {
    public init<Content: View>(@ViewBuilder content: @escaping (GeometryProxy) -> Content) {}
    public var body: Never { return fatalError("a stub") }
}

// documentation/swiftui/geometryproxy
public struct GeometryProxy {
    public var size: CGSize { fatalError("a stub") }
}

// documentation/swiftui/gesture
public protocol Gesture<Value> {
    associatedtype Value
}

extension Gesture {
    // documentation/swiftui/gesture/onchanged(_:)
    public func onChanged(_ action: @escaping @MainActor (Value) -> Void) -> Self { self }
}

// documentation/swiftui/draggesture
public struct DragGesture: Gesture {
    public struct Value {
        public var location: CGPoint { fatalError("a stub") }
    }
    public init(minimumDistance: CGFloat = 10) {}
}

// documentation/swiftui/scene
public protocol Scene {}

// documentation/swiftui/windowgroup
public struct WindowGroup: Scene {
    public init<Content: View>(@ViewBuilder content: () -> Content) {}
}

// documentation/swiftui/app
@MainActor @preconcurrency
public protocol App {
    associatedtype Body: Scene
    var body: Self.Body { get }
    init()
}

extension App {
    // documentation/swiftui/app/main()
    public static func main() {}
}
