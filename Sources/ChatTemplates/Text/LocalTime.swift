/// A moment as the clock on the wall shows it, for `strftime_now`.
public struct LocalTime: Sendable, Hashable {
    public var year: Int
    /// 1 to 12.
    public var month: Int
    /// 1 to 31.
    public var day: Int
    public var hour: Int
    public var minute: Int
    public var second: Int

    public init(year: Int, month: Int, day: Int, hour: Int = 0, minute: Int = 0, second: Int = 0) {
        self.year = year
        self.month = month
        self.day = day
        self.hour = hour
        self.minute = minute
        self.second = second
    }

    /// Sunday is 0 (Zeller's congruence on the Gregorian calendar).
    private var weekday: Int {
        let (shiftedYear, shiftedMonth) = month < 3 ? (year - 1, month + 12) : (year, month)
        let day = day + 13 * (shiftedMonth + 1) / 5 + shiftedYear + shiftedYear / 4 - shiftedYear / 100 + shiftedYear / 400
        return (day + 6) % 7
    }

    private var dayOfYear: Int {
        let isLeap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
        let lengths = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        return lengths.prefix(max(0, month - 1)).reduce(0, +) + day
    }

    private static let months = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
    ]
    private static let weekdays = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]

    /// What Python's `strftime` writes in the C locale.
    func formatted(_ format: String) throws -> String {
        func padded(_ value: Int, _ count: Int = 2, _ fill: Character = "0") -> String {
            let digits = String(value)
            return String(repeating: fill, count: max(0, count - digits.utf8.count)) + digits
        }
        var result = String.UnicodeScalarView()
        var scalars = Array(format.unicodeScalars)[...]
        while let scalar = scalars.popFirst() {
            guard scalar == "%" else {
                result.append(scalar)
                continue
            }
            var isBare = false
            if scalars.first == "-" {
                isBare = true
                scalars.removeFirst()
            }
            guard let directive = scalars.popFirst() else { throw Failure.unsupported("a date format that ends in % is not supported") }
            let hour12 = hour % 12 == 0 ? 12 : hour % 12
            let month = Self.months[max(0, min(11, self.month - 1))]
            let weekday = Self.weekdays[self.weekday]
            let text: String? =
                switch directive {
                case "Y": String(year)
                case "m": padded(self.month, isBare ? 1 : 2)
                case "d": padded(day, isBare ? 1 : 2)
                case "H": padded(hour, isBare ? 1 : 2)
                case "I": padded(hour12, isBare ? 1 : 2)
                case "M": padded(minute, isBare ? 1 : 2)
                case "S": padded(second, isBare ? 1 : 2)
                case "y": padded(year % 100, isBare ? 1 : 2)
                case "j": padded(dayOfYear, isBare ? 1 : 3)
                case "e" where !isBare: padded(day, 2, " ")
                case "B" where !isBare: month
                case "b" where !isBare, "h" where !isBare: String(month.prefix(3))
                case "A" where !isBare: weekday
                case "a" where !isBare: String(weekday.prefix(3))
                case "p" where !isBare: hour < 12 ? "AM" : "PM"
                case "F" where !isBare: "\(padded(year, 4))-\(padded(self.month))-\(padded(day))"
                case "T" where !isBare: "\(padded(hour)):\(padded(minute)):\(padded(second))"
                case "D" where !isBare: "\(padded(self.month))/\(padded(day))/\(padded(year % 100))"
                case "R" where !isBare: "\(padded(hour)):\(padded(minute))"
                case "%" where !isBare: "%"
                default: nil
                }
            guard let text else { throw Failure.unsupported("the date format %\(isBare ? "-" : "")\(directive) is not supported") }
            result.append(text: text)
        }
        return String(result)
    }
}
